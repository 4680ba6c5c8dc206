/** Where the measurement keeps its things: on the pool, so that every contender writes to the same disk. */
export const benchDirectory = '/var/lib/forkpoint/bench';
/** Root file system that the workspaces are made of. */
export const templateDirectory = `${benchDirectory}/template`;

/** One contender in one workload, between two rounds. */
export interface Contestant {
  /** One round of all that it can do. Milliseconds or bytes by name, see figures.ts. */
  round(): Promise<Record<string, number>>;
  /** Ends it; nothing of it remains. */
  end(): Promise<void>;
}
