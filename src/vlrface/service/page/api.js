// Requests to the service. The key lives in this tab's session storage and nowhere else.

const KEY = "vlrface-key";

/** A request that was refused, in words for people. */
export class Refusal extends Error {
  constructor(status, code, message, retryAfter = 0) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) || "",
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

// Where the service's own sentence speaks to programmers or operators.
const WORDS = {
  no_key: "The service does not know this key. Enter a good one.",
  too_often: "Too many requests with this key. Wait a moment and try again.",
  overloaded: "The service is busy. Wait a moment and try again.",
  no_gallery: "This service keeps no people.",
  no_picture: "None of this is a picture that the service can read.",
  cross_origin: "The browser says that another site asked. Open this page by its own address.",
  internal: "The service failed; its log says where.",
};

/** Ask, and give the answer's JSON; Refusal otherwise, and AbortError where it was cancelled. */
export async function ask(path, options = {}) {
  return (await response(path, options)).json();
}

/** Ask for a picture, and give a URL for it, to be revoked by whoever asked. */
export async function pictureUrl(path) {
  return URL.createObjectURL(await (await response(path, {})).blob());
}

/** Send files under a field each: [[field, file, name], ...]. */
export function send(path, parts, signal = undefined) {
  const body = new FormData();
  for (const [field, file, name] of parts) body.append(field, file, name);
  return ask(path, { method: "POST", body, signal });
}

/** A path's query: true and texts are given, false and empty are left out. */
export function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== false && value !== "" && value !== null);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

async function response(path, options) {
  const headers = key.get() ? { Authorization: `Bearer ${key.get()}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "unreachable", "The service cannot be reached. Is it still running?");
  }
  if (answer.ok) return answer;
  throw await refusal(answer);
}

async function refusal(answer) {
  let { code, message } = { code: "unknown", message: `The service answered with status ${answer.status}.` };
  try {
    ({ code, message } = (await answer.json()).error);
  } catch {
    // not ours: a proxy's page, say
  }
  if (answer.status === 401) document.dispatchEvent(new CustomEvent("key-needed", { detail: Boolean(key.get()) }));
  const words = answer.status === 401 && !key.get() ? "The service asks for a key." : WORDS[code];
  return new Refusal(answer.status, code, words || message, Number(answer.headers.get("Retry-After")) || 0);
}

/** Whether a role is within another. */
export function may(model, role) {
  const roles = ["read", "enrol", "admin"];
  return roles.indexOf(model.role) >= roles.indexOf(role);
}
