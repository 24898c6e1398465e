// Logs in and lists accounts, with types made from the OpenAPI document.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const { ROLLCALL_URL = "http://127.0.0.1:8000", LOGIN_ID = "root", PASSWORD = "" } = process.env;
const api = createClient<paths>({ baseUrl: ROLLCALL_URL });

const opened = await api.POST("/v1/sessions", { body: { login_id: LOGIN_ID, password: PASSWORD } });
if (opened.error) {
  console.error(`${opened.error.status} ${opened.error.code}: ${opened.error.detail}`);
  process.exit(1);
}

const headers = { Authorization: `Bearer ${opened.data.token}` };
let cursor: string | undefined;
do {
  const page = await api.GET("/v1/users", { headers, params: { query: { limit: 100, cursor } } });
  if (page.error) {
    console.error(`${page.error.status} ${page.error.code}: ${page.error.detail}`);
    process.exit(1);
  }
  for (const user of page.data.items) console.log(`${user.id} ${user.login_id} ${user.role}`);
  cursor = page.data.next_cursor ?? undefined;
} while (cursor);

await api.DELETE("/v1/sessions/current", { headers });
