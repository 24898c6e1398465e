// The page: forms in, requests out. What the service says is shown as text, never as HTML.

import { call, Problem, useToken } from "./api.js";
import { createPasskey, getPasskey } from "./webauthn.js";

const element = (selector) => document.querySelector(selector);
const fields = (form) => Object.fromEntries(new FormData(form));

let pending = null; // the log-in that waits for a second factor: challenge, methods, public_key

const show = (id) => {
  for (const view of document.querySelectorAll("main")) view.hidden = view.id !== id;
};

const say = (text, isError = false) => {
  element("#status").textContent = text;
  element("#status").classList.toggle("error", isError);
};

/** Run an action of the page, and say what became of it. */
const run = async (action) => {
  say("…");
  try {
    say(await action());
  } catch (error) {
    say(error instanceof Problem ? `${error.message} (${error.code})` : `${error.name}: ${error.message}`, true);
  }
};

const onSubmit = (selector, action) => {
  for (const form of document.querySelectorAll(selector)) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      run(() => action(fields(form), form)).then(() => form.reset());
    });
  }
};

const onClick = (selector, action) => element(selector).addEventListener("click", () => run(action));

const item = (text, ...buttons) => {
  const entry = document.createElement("li");
  entry.append(text, ...buttons);
  return entry;
};

const button = (text, action) => {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", () => run(action));
  return made;
};

// Logging in

const enter = async ({ token, session, user }) => {
  useToken(token);
  pending = null;
  element("#who").textContent = `${user.name} (${user.login_id})`;
  element("#session").textContent = `Assurance ${session.assurance}: ${session.amr.join(", ")}`;
  await listPasskeys();
  show("account");
  return "Logged in.";
};

const logIn = async (body) => {
  try {
    return await enter(await call("POST", "/v1/sessions", body));
  } catch (error) {
    if (error.code !== "second_factor_required") throw error;
    pending = error.problem;
    for (const form of document.querySelectorAll("#second-factor form")) {
      form.hidden = !pending.methods.includes(form.dataset.method);
    }
    show("second-factor");
    return error.message;
  }
};

onSubmit("#register", async ({ login_id, name, password }) => {
  await call("POST", "/v1/users", { login_id, name, password });
  return logIn({ login_id, password });
});

onSubmit("#log-in", ({ login_id, password }) => logIn({ login_id, password }));

onClick("#log-in-by-passkey", async () => {
  const { challenge_id, public_key } = await call("POST", "/v1/passkey-challenges");
  return logIn({ challenge_id, passkey: await getPasskey(public_key) });
});

onSubmit("#second-factor form", async (typed, form) => {
  const { challenge, public_key } = pending;
  const answer = form.dataset.method === "passkey" ? { passkey: await getPasskey(public_key) } : typed;
  return logIn({ challenge, ...answer });
});

onClick("#log-out", async () => {
  await call("DELETE", "/v1/sessions/current");
  useToken(null);
  element("#recovery-codes").replaceChildren();
  show("anonymous");
  return "Logged out.";
});

// Factors

const PASSKEYS = "/v1/users/me/passkeys";

const listPasskeys = async () => {
  const { items } = await call("GET", PASSKEYS);
  const remove = (passkey) =>
    button("Remove", async () => {
      await call("DELETE", `${PASSKEYS}/${passkey.id}`);
      await listPasskeys();
      return `${passkey.name} is removed.`;
    });
  element("#passkeys").replaceChildren(...items.map((passkey) => item(`${passkey.name} `, remove(passkey))));
};

onSubmit("#add-passkey", async ({ name }) => {
  const { challenge_id, public_key } = await call("POST", `${PASSKEYS}/options`);
  await call("POST", PASSKEYS, { challenge_id, name, passkey: await createPasskey(public_key) });
  await listPasskeys();
  return `${name} is added.`;
});

onClick("#enroll-totp", async () => {
  const { secret, uri } = await call("POST", "/v1/users/me/totp");
  element("#totp-secret").textContent = secret;
  element("#totp-uri").href = uri;
  element("#confirm-totp").hidden = false;
  return "Add the key to your authenticator app, then type the code that it shows.";
});

onSubmit("#confirm-totp", async ({ code }, form) => {
  await call("POST", "/v1/users/me/totp/confirm", { code });
  form.hidden = true;
  return "The authenticator app is set up.";
});

onClick("#make-recovery-codes", async () => {
  const { codes } = await call("POST", "/v1/users/me/recovery-codes");
  element("#recovery-codes").replaceChildren(...codes.map((code) => item(code)));
  return "Keep these codes in a safe place. They are shown once.";
});
