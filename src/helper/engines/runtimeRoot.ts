/** Where the runtimes keep the state of Podman's containers. */
export const RUNTIME_ROOT = { runc: '/run/runc', crun: '/run/crun' } as const;
