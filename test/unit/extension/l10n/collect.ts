import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync, Visitor, type Argument } from 'oxc-parser';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const sources = join(root, 'src/extension');

/** The file that translators start from: each text stands for itself. */
export const bundleFile = join(root, 'l10n/bundle.l10n.json');

/** All that is said through `l10n.t` in the extension. */
export interface CollectedTexts {
  readonly texts: ReadonlySet<string>;
  /** Calls whose text is not a literal, as `file:line`: no translator would ever see it. */
  readonly notLiteral: readonly string[];
}

/** Reads the texts out of the extension's sources. */
export function collectTexts(): CollectedTexts {
  const texts = new Set<string>();
  const notLiteral: string[] = [];
  for (const name of readdirSync(sources, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!name.endsWith('.ts')) continue;
    const path = join(sources, name);
    const code = readFileSync(path, 'utf8');
    const { program, errors } = parseSync(path, code);
    if (errors[0] !== undefined) throw new Error(`${path} can not be read: ${errors[0].message}`);
    new Visitor({
      CallExpression({ callee, arguments: [text], start }) {
        if (!/(^|\.)l10n\.t$/.test(code.slice(callee.start, callee.end))) return;
        const literal = literalText(text);
        if (literal !== undefined) texts.add(literal);
        else notLiteral.push(`${relative(root, path)}:${String(code.slice(0, start).split('\n').length)}`);
      },
    }).visit(program);
  }
  return { texts, notLiteral };
}

/** What a string or a template without values says; undefined for all else. */
function literalText(argument: Argument | undefined): string | undefined {
  if (argument?.type === 'TemplateLiteral')
    return argument.quasis.length === 1 ? (argument.quasis[0]?.value.cooked ?? undefined) : undefined;
  return argument?.type === 'Literal' && typeof argument.value === 'string' ? argument.value : undefined;
}

/** The bundle of these texts, as it stands in the repository. */
export function bundleOf(texts: ReadonlySet<string>): string {
  return `${JSON.stringify(Object.fromEntries([...texts].sort().map((text) => [text, text])), null, 2)}\n`;
}
