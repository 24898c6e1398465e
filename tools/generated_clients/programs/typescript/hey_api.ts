// Uses the client of @hey-api/openapi-ts.
import { changePassword, createUser, introspect, listEvents, listUsers, logIn, logOut } from "./client/index.js";
import { NEW_PASSWORD, ROLLCALL_KEY, ROLLCALL_NEW, ROLLCALL_PASSWORD, ROLLCALL_URL, step } from "./step.js";

const by = (auth?: string) => ({ baseUrl: ROLLCALL_URL, auth, throwOnError: true as const });
const open = async (login_id: string) =>
  (await logIn({ ...by(), body: { login_id, password: ROLLCALL_PASSWORD } })).data;

const opened = await open("root");
await step("log in", async () => opened.token);
const root = by(opened.token);
const body = { login_id: ROLLCALL_NEW, name: "Ada", password: ROLLCALL_PASSWORD };
const user = (await createUser({ ...root, body })).data;
await step("create a user", async () => user.login_id === ROLLCALL_NEW);
await step("list users", async () => (await listUsers({ ...root, query: { id: [user.id] } })).data.items.length === 1);
await step("list events", async () => (await listEvents(root)).data.items.length);
await step("introspect", async () => {
  const told = (await introspect({ ...by(ROLLCALL_KEY), body: { token: opened.token } })).data;
  return told.active && told.username === "root";
});
await step("change a password", async () => {
  const change = { new_password: NEW_PASSWORD, current_password: ROLLCALL_PASSWORD };
  const ada = by((await open(ROLLCALL_NEW)).token);
  return (await changePassword({ ...ada, path: { user_id: "me" }, body: change })).response.status === 204;
});
await step("log out", async () => (await logOut(root)).response.status === 204);
