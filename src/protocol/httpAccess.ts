import * as z from 'zod';
import { ExpiryDaysSchema, NameSchema, WorkspaceIdSchema, WorkspaceReferenceSchema } from './names.ts';
import { MomentSchema } from './snapshot.ts';

/** Where the HTTP API listens unless told. */
export const DEFAULT_LISTEN = '127.0.0.1:7465';

/**
 * What a token may allow: take snapshots (`create`), read (`list`), restore, fork (`copy`), delete snapshots and
 * workspaces, and make, start, stop and group workspaces and choose the ports they publish (`manage`).
 */
export const ApiVerbSchema = z.enum(['create', 'list', 'restore', 'copy', 'delete', 'manage']);
export type ApiVerb = z.infer<typeof ApiVerbSchema>;

/** Public part of a token, by which it is listed and revoked. */
export const TokenIdSchema = z.string().regex(/^[0-9a-f]{12}$/, 'the 12 digits that "api token list" shows');

/** A token of the HTTP API, without its secret. */
export const ApiTokenSchema = z.object({
  id: TokenIdSchema,
  label: NameSchema.nullable(),
  /** The workspaces that it holds for; null: all of them, those to come included. */
  containers: z.array(WorkspaceIdSchema).nullable(),
  may: z.array(ApiVerbSchema),
  createdAt: MomentSchema,
  expiresAt: MomentSchema,
});
export type ApiToken = z.infer<typeof ApiTokenSchema>;

/** Whether and how the HTTP API is served. */
export const ApiStatusSchema = z.object({
  enabled: z.boolean(),
  /** As given to `api enable`; null while it is off. */
  listen: z.string().nullable(),
  tls: z.object({ certificate: z.string(), key: z.string(), expiresAt: MomentSchema }).nullable(),
  isListening: z.boolean(),
  /** Why it doesn't listen although it is on. */
  problem: z.string().nullable(),
  /** How many tokens are neither expired nor revoked. */
  tokens: z.int().nonnegative(),
});
export type ApiStatus = z.infer<typeof ApiStatusSchema>;

/** Parameters of `api/enable`. */
export const EnableApiSchema = z.object({
  listen: z
    .string()
    .max(256)
    .default(DEFAULT_LISTEN)
    .describe('ADDRESS:PORT or unix:PATH; without --tls a loopback address or a unix socket only'),
  tls: z
    .tuple([z.string().min(1), z.string().min(1)])
    .optional()
    .describe('Files of the certificate chain and of its private key, PEM'),
  group: z
    .string()
    .regex(/^[a-z_][a-z0-9_-]*$/)
    .optional()
    .describe('Group of the host that may use the unix socket; root alone unless given'),
});

/** Parameters of `api/token/create`. */
export const CreateTokenSchema = z.object({
  container: z
    .array(WorkspaceReferenceSchema)
    .default([])
    .describe('Workspace that it holds for; may be given several times'),
  allContainers: z.boolean().default(false).describe('It holds for all workspaces, those to come included'),
  may: z
    .array(ApiVerbSchema)
    .min(1)
    .describe(`What it allows, separated by commas: ${ApiVerbSchema.options.join(', ')}`),
  expiry: ExpiryDaysSchema.default(30).describe('Days until it expires'),
  label: NameSchema.optional().describe('What it is for, shown in lists'),
});
