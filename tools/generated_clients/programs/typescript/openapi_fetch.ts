// Uses openapi-fetch with the types of openapi-typescript.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";
import { NEW_PASSWORD, ROLLCALL_KEY, ROLLCALL_NEW, ROLLCALL_PASSWORD, ROLLCALL_URL, step } from "./step.js";

const by = (token?: string) =>
  createClient<paths>({ baseUrl: ROLLCALL_URL, headers: token ? { Authorization: `Bearer ${token}` } : {} });
const logIn = async (login_id: string) => {
  const { data, error } = await by().POST("/v1/sessions", { body: { login_id, password: ROLLCALL_PASSWORD } });
  if (error) throw error;
  return data;
};

const opened = await logIn("root");
await step("log in", async () => opened.token);
const root = by(opened.token);
const body = { login_id: ROLLCALL_NEW, name: "Ada", password: ROLLCALL_PASSWORD };
const user = await root.POST("/v1/users", { body });
await step("create a user", async () => user.data?.login_id === ROLLCALL_NEW);
await step("list users", async () => {
  const page = await root.GET("/v1/users", { params: { query: { id: [user.data!.id] } } });
  return page.data?.items.length === 1;
});
await step("list events", async () => (await root.GET("/v1/events")).data?.items.length);
await step("introspect", async () => {
  const told = await by(ROLLCALL_KEY).POST("/v1/introspect", {
    body: { token: opened.token },
    bodySerializer: (form) => new URLSearchParams(form as Record<string, string>),
    headers: { "Content-Type": "application/x-www-form-urlencoded" },
  });
  return told.data?.active && told.data.username === "root";
});
await step("change a password", async () => {
  const change = { new_password: NEW_PASSWORD, current_password: ROLLCALL_PASSWORD };
  const ada = by((await logIn(ROLLCALL_NEW)).token);
  const params = { path: { user_id: "me" } };
  return (await ada.PUT("/v1/users/{user_id}/password", { params, body: change })).response.status === 204;
});
await step("log out", async () => (await root.DELETE("/v1/sessions/current")).response.status === 204);
