/**
 * Orders versions such as `18.19.0`: negative when `left` is older. A pre-release (`1.2.0-beta.1`) is older than its
 * release; what is no version is older than all.
 */
export function compareVersions(left: string, right: string): number {
  const [leftNumbers, leftRest] = split(left);
  const [rightNumbers, rightRest] = split(right);
  for (let index = 0; index < 3; index += 1) {
    const difference = (leftNumbers[index] ?? -1) - (rightNumbers[index] ?? -1);
    if (difference !== 0) return difference;
  }
  if (leftRest === rightRest) return 0;
  if (leftRest === '' || rightRest === '') return leftRest === '' ? 1 : -1;
  return leftRest.localeCompare(rightRest, 'en', { numeric: true });
}

function split(version: string): [number[], string] {
  const match = /^v?(\d+)\.(\d+)\.(\d+)(?:-([^+]*))?/.exec(version);
  return match ? [match.slice(1, 4).map(Number), match[4] ?? ''] : [[], ''];
}
