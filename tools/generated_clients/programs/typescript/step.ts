// Prints a line for each step of a program.
export const { ROLLCALL_URL = "", ROLLCALL_PASSWORD = "", ROLLCALL_NEW = "", ROLLCALL_KEY = "" } = process.env;
export const NEW_PASSWORD = "crimson kettle drums loudly";

export async function step(name: string, run: () => Promise<unknown>): Promise<void> {
  try {
    console.log(`${name}: ${(await run()) ? "ok" : "not what was expected"}`);
  } catch (error) {
    const response = (error as { response?: Response }).response;
    const text = response ? await response.text() : error instanceof Error ? error.message : JSON.stringify(error);
    console.log(`${name}: ${text}`);
  }
}
