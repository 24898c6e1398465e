// Passkeys: from the JSON of the service to the browser's API, and back.
// Browsers do the conversion themselves since 2025; the rest of this file is for older ones.

const toBytes = (text) => {
  const base64 = text.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
};

const toText = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

const withBytes = (descriptors = []) => descriptors.map((one) => ({ ...one, id: toBytes(one.id) }));

const creationOptions = (json) =>
  PublicKeyCredential.parseCreationOptionsFromJSON?.(json) ?? {
    ...json,
    challenge: toBytes(json.challenge),
    user: { ...json.user, id: toBytes(json.user.id) },
    excludeCredentials: withBytes(json.excludeCredentials),
  };

const requestOptions = (json) =>
  PublicKeyCredential.parseRequestOptionsFromJSON?.(json) ?? {
    ...json,
    challenge: toBytes(json.challenge),
    allowCredentials: withBytes(json.allowCredentials),
  };

const MEMBERS = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];

const toJson = (credential) => {
  if (credential.toJSON) return credential.toJSON();
  const { id, type, response, authenticatorAttachment } = credential;
  const present = MEMBERS.filter((member) => response[member]);
  const encoded = Object.fromEntries(present.map((member) => [member, toText(response[member])]));
  const transports = response.getTransports ? { transports: response.getTransports() } : {};
  const clientExtensionResults = credential.getClientExtensionResults();
  return {
    id,
    rawId: id,
    type,
    authenticatorAttachment,
    clientExtensionResults,
    response: { ...encoded, ...transports },
  };
};

/** Create a passkey. */
export const createPasskey = async (json) =>
  toJson(await navigator.credentials.create({ publicKey: creationOptions(json) }));

/** Ask for a passkey. */
export const getPasskey = async (json) =>
  toJson(await navigator.credentials.get({ publicKey: requestOptions(json) }));
