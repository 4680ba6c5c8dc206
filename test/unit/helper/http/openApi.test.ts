import assert from 'node:assert/strict';
import { Validator } from '@seriousme/openapi-schema-validator';
import * as z from 'zod';
import { openApiDocument } from '../../../../src/helper/doors/http/openApi.ts';
import { routes } from '../../../../src/protocol/httpRoutes.ts';

const OperationSchema = z.looseObject({
  operationId: z.string(),
  requestBody: z.unknown().optional(),
  responses: z.record(z.string(), z.unknown()),
});
const PathsSchema = z.record(z.string(), z.record(z.string(), OperationSchema));

describe('the OpenAPI document', () => {
  const document = JSON.parse(JSON.stringify(openApiDocument('1.2.3'))) as Record<string, unknown>;
  const paths = PathsSchema.parse(document['paths']);

  it('is valid OpenAPI 3.1', async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(structuredClone(document));
    assert.ok(valid, JSON.stringify(errors));
    assert.equal(validator.version, '3.1');
  });

  it('refers to nothing that it lacks', () => {
    const schemas = Object.keys(
      z.object({ schemas: z.record(z.string(), z.unknown()) }).parse(document['components']).schemas,
    );
    const references = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)];
    assert.ok(references.length > 0);
    for (const [, name = ''] of references) assert.ok(schemas.includes(name), name);
  });

  it('has every route, and an id of its own for each operation', () => {
    for (const { method, path } of routes)
      assert.ok(paths[path]?.[method.toLowerCase()], `${method} ${path}`);
    const ids = Object.values(paths).flatMap((path) =>
      Object.values(path).map(({ operationId }) => operationId),
    );
    assert.equal(new Set(ids).size, ids.length);
  });

  it('calls things as the API does', () => {
    const body = JSON.stringify(paths['/containers/{container}/copy']?.['post']?.requestBody);
    for (const name of ['source_snapshot', 'target_project_id', 'name'])
      assert.ok(body.includes(`"${name}"`));
    assert.match(JSON.stringify(document), /"snapshot_count"/);
    const names = [...JSON.stringify(document).matchAll(/"properties":\{"(\w+)"/g)].map(
      ([, name = '']) => name,
    );
    for (const name of names) assert.equal(name, name.toLowerCase());
  });
});
