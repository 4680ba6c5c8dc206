/** A port of a workspace that its host publishes on loopback. */
export interface PortPair {
  readonly hostPort: number;
  readonly containerPort: number;
}

/** Reads ports written as `HOST:CONTAINER`, separated by spaces or commas; null when one of them isn't that. */
export function parsePorts(text: string): readonly PortPair[] | null {
  const pairs: PortPair[] = [];
  for (const word of text.split(/[\s,]+/).filter((part) => part !== '')) {
    const match = /^(\d{1,5}):(\d{1,5})$/.exec(word);
    const hostPort = Number(match?.[1]);
    const containerPort = Number(match?.[2]);
    if (!isPort(hostPort) || !isPort(containerPort)) return null;
    pairs.push({ hostPort, containerPort });
  }
  return pairs;
}

function isPort(value: number): boolean {
  return value >= 1 && value <= 65535;
}
