// Introspect with token-introspection, which authenticates by Basic.
import TokenIntrospection from "token-introspection";

const introspect = TokenIntrospection({
  endpoint: `${process.env.ROLLCALL_URL}/v1/introspect`,
  client_id: "gateway",
  client_secret: process.env.ROLLCALL_KEY,
});
try {
  console.log((await introspect(process.env.TOKEN)).username);
} catch (error) {
  if (error.constructor.name !== "TokenNotActiveError") throw error;
  console.log("refused");
}
