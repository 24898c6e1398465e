// Uses the client of openapi-generator (typescript-fetch).
import { Configuration, EventsApi, IntrospectionApi, PasswordsApi, SessionsApi, UsersApi } from "./client/index.js";
import { NEW_PASSWORD, ROLLCALL_KEY, ROLLCALL_NEW, ROLLCALL_PASSWORD, ROLLCALL_URL, step } from "./step.js";

const by = (accessToken?: string) => new Configuration({ basePath: ROLLCALL_URL, accessToken });
const logIn = (loginId: string) =>
  new SessionsApi(by()).logIn({ logInBody: { loginId, password: ROLLCALL_PASSWORD } });

const opened = await logIn("root");
await step("log in", async () => opened.token);
const root = by(opened.token);
const createUserBody = { loginId: ROLLCALL_NEW, name: "Ada", password: ROLLCALL_PASSWORD };
const user = await new UsersApi(root).createUser({ createUserBody });
await step("create a user", async () => user.loginId === ROLLCALL_NEW);
await step("list users", async () => (await new UsersApi(root).listUsers({ id: [user.id] })).items.length === 1);
await step("list events", async () => (await new EventsApi(root).listEvents()).items.length > 0);
await step("introspect", async () => {
  const told = await new IntrospectionApi(by(ROLLCALL_KEY)).introspect({ token: opened.token });
  return told.active && told.username === "root" && told.exp! > 0;
});
await step("change a password", async () => {
  const changePasswordBody = { newPassword: NEW_PASSWORD, currentPassword: ROLLCALL_PASSWORD };
  const ada = by((await logIn(ROLLCALL_NEW)).token);
  await new PasswordsApi(ada).changePassword({ userId: "me", changePasswordBody });
  return true;
});
await step("log out", async () => {
  await new SessionsApi(root).logOut();
  return true;
});
