// The service, over HTTP and JSON. The token is kept in memory: closing the page forgets it.

const SERVICE = "http://localhost:8000";

let token = null;

/** An answer that is no success: `status`, and the members of the problem document. */
export class Problem extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `The service answered ${status}.`);
    Object.assign(this, { status, problem, code: problem.code });
  }
}

/** Authenticate further requests with this token; null: none. */
export const useToken = (value) => {
  token = value;
};

/** Send a request, and return the body of its answer. */
export const call = async (method, path, body) => {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(SERVICE + path, { method, headers, body: JSON.stringify(body) });
  const content = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Problem(answer.status, content);
  return content;
};
