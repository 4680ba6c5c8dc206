import * as z from 'zod';

/** What a container's config.json (OCI runtime specification) must have to be taken over; the rest is kept as it is. */
const ConfigurationSchema = z.looseObject({
  hostname: z.string(),
  root: z.looseObject({ path: z.string() }),
  process: z.looseObject({ env: z.array(z.string()) }),
  mounts: z.array(z.looseObject({ source: z.string().optional() })),
  annotations: z.record(z.string(), z.string()),
  linux: z.looseObject({
    cgroupsPath: z.string(),
    namespaces: z.array(z.looseObject({ type: z.string(), path: z.string().optional() })),
  }),
});

/** What tells one container from another that was made from the same specification. */
export interface ContainerIdentity {
  /** The engine's id; part of the paths that it gives the container. */
  readonly id: string;
  /** Directory of the workspace. */
  readonly directory: string;
  readonly hostname: string;
}

/**
 * The configuration of a container, taken from that of a sibling made from the same specification: what a first start
 * would write, without starting anything. No network namespace is named in it: the engine puts the container's own in
 * its place at each restore (Podman's container_internal_common.go, restore), and the sibling's is none of its business.
 * Rejected when it is not such a configuration.
 */
export function siblingConfiguration(
  text: string,
  sibling: ContainerIdentity,
  own: ContainerIdentity,
): string {
  const config = ConfigurationSchema.parse(JSON.parse(text));
  const moved = (value: string): string =>
    replaceDirectory(value, sibling.directory, own.directory).replaceAll(sibling.id, own.id);
  return JSON.stringify({
    ...config,
    hostname: own.hostname,
    root: { ...config.root, path: moved(config.root.path) },
    process: {
      ...config.process,
      env: config.process.env.map((entry) =>
        entry === `HOSTNAME=${sibling.hostname}` ? `HOSTNAME=${own.hostname}` : entry,
      ),
    },
    mounts: config.mounts.map((mount) =>
      mount.source === undefined ? mount : { ...mount, source: moved(mount.source) },
    ),
    annotations: Object.fromEntries(
      Object.entries(config.annotations).map(([name, value]) => [name, moved(value)]),
    ),
    linux: {
      ...config.linux,
      cgroupsPath: moved(config.linux.cgroupsPath),
      namespaces: config.linux.namespaces.map(({ path, ...namespace }) =>
        path === undefined || namespace.type === 'network' ? namespace : { ...namespace, path },
      ),
    },
  });
}

/** Moves a path that is in, or is, a directory. */
function replaceDirectory(value: string, from: string, to: string): string {
  return value === from || value.startsWith(`${from}/`) ? to + value.slice(from.length) : value;
}
