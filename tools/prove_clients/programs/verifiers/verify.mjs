// Verify access tokens, one a line, with jose.
import { createInterface } from "node:readline";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const { ROLLCALL_URL, AUDIENCE } = process.env;
// A key signs an hour after it was published; here it is seconds, and jose waits 30 s before it reads keys again.
const keys = createRemoteJWKSet(new URL(`${ROLLCALL_URL}/.well-known/jwks.json`), { cooldownDuration: 0 });
const expected = { issuer: ROLLCALL_URL, audience: AUDIENCE, typ: "at+jwt", algorithms: ["ES256"] };
for await (const token of createInterface({ input: process.stdin })) {
  try {
    const { payload } = await jwtVerify(token, keys, expected);
    console.log(payload.sub);
  } catch (error) {
    if (!(error instanceof errors.JOSEError)) throw error;
    console.log("refused");
  }
}
