// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const controlCharacters = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/**
 * Makes text that came from a container fit to be shown: control and direction characters become
 * visible `\u{…}` escapes, so that a process or file name can't forge a line or hide its ending.
 */
export function visible(text: string): string {
  return text.replace(controlCharacters, (character) => `\\u{${character.charCodeAt(0).toString(16)}}`);
}
