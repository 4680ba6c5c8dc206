import * as z from 'zod';

/** A port of a workspace on which a program takes TCP connections, or that the host publishes. */
export const WorkspacePortSchema = z.object({
  port: z.int().min(1).max(65535),
  /** Addresses inside that it listens on, as `ss` writes them without the port; none when nothing listens. */
  addresses: z.array(z.string()),
  /** The first process that holds the socket, with its id inside; null when none of the workspace does. */
  process: z.object({ pid: z.int(), name: z.string() }).nullable(),
  /** Where the host publishes it, as `address:port`. */
  published: z.array(z.string()),
});
export type WorkspacePort = z.infer<typeof WorkspacePortSchema>;

/** Name of a terminal's session: what tmux, screen and a file name all take as it is. */
export const TerminalSessionSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9_][A-Za-z0-9_-]{0,31}$/,
    'use 1 to 32 letters, digits, "_" or "-", and don\'t begin with "-"',
  );

/** Programs that keep a shell alive while nobody looks, in the order of preference. */
export const multiplexers = ['tmux', 'screen', 'dtach'] as const;
export type Multiplexer = (typeof multiplexers)[number];

/** A terminal's session, ready to be attached to. */
export const TerminalSchema = z.object({
  session: TerminalSessionSchema,
  /** Null: the workspace has none, so the shell is no part of snapshots. */
  multiplexer: z.enum(multiplexers).nullable(),
  /** The session was begun just now. */
  isNew: z.boolean(),
  /** Command to run inside, on a terminal, that attaches to it; a plain shell without a multiplexer. */
  command: z.array(z.string()),
  /** Environment variables for it. */
  env: z.record(z.string(), z.string()),
  /** Command that would install a multiplexer with the workspace's own package manager; null when it has none that we know. */
  install: z
    .string()
    .regex(/^[\x20-\x7e]+$/, 'one line')
    .nullable(),
});
export type Terminal = z.infer<typeof TerminalSchema>;

/** A public key as it stands in `authorized_keys`, without options: type, key in base64, comment. */
export const PublicKeySchema = z
  .string()
  .max(16_384)
  .regex(
    /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]+={0,3}( [^\r\n\0]*)?$/,
    'a public key in one line, as in a file that ends in .pub',
  );

/** A user's name inside, as useradd(8) takes it. */
export const UserNameSchema = z.string().regex(/^[a-z_][a-z0-9_-]{0,31}\$?$/, 'the name of a user inside');

/** How a workspace is reached by SSH. The editor writes it into files that ssh reads: nothing in it may be more than a word. */
export const SshAccessSchema = z.object({
  user: UserNameSchema,
  /** Port on the workspace's loopback address, reached through `forkpoint ssh proxy`. */
  port: z.int().min(1).max(65535),
  /** Name for `HostKeyAlias`: the same for the workspace's life, whatever it is called. */
  hostKeyAlias: z.string().regex(/^forkpoint-ws-[0-9a-f]{12}$/, '"forkpoint-" and the id of the workspace'),
  /** Its public host key: type and key in base64. */
  hostKey: z
    .string()
    .max(16_384)
    .regex(/^ssh-ed25519 [A-Za-z0-9+/]+={0,3}$/, 'type and key in base64'),
});
export type SshAccess = z.infer<typeof SshAccessSchema>;
