// Introspect, or revoke, with openid-client.
import * as client from "openid-client";

const { ROLLCALL_URL, ROLLCALL_KEY, TOKEN } = process.env;
const options = { execute: [client.allowInsecureRequests], algorithm: process.env.DISCOVERY };
const config = await client.discovery(new URL(ROLLCALL_URL), "gateway", ROLLCALL_KEY, undefined, options);
if (process.argv[2] === "revoke") {
  await client.tokenRevocation(config, TOKEN);
} else {
  const answer = await client.tokenIntrospection(config, TOKEN);
  console.log(answer.active ? answer.username : "refused");
}
