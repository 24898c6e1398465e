-- Sends the requests of a file, separated by NUL, in turn.
local requests, number = {}, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for request in file:read("*a"):gmatch("[^%z]+") do requests[#requests + 1] = request end
  file:close()
end

function request()
  number = number % #requests + 1
  return requests[number]
end
