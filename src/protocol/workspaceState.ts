import * as z from 'zod';

/** `missing`: the container engine has lost the container; start and restore make it again. */
export const WorkspaceStateSchema = z.enum(['running', 'stopped', 'frozen', 'missing']);
export type WorkspaceState = z.infer<typeof WorkspaceStateSchema>;
