import assert from 'node:assert/strict';
import type { Snapshot } from '../../../../src/protocol/snapshot.ts';
import {
  escapeMarkdown,
  snapshotDescription,
  snapshotSpokenText,
  snapshotTooltip,
} from '../../../../src/extension/views/snapshotText.ts';
import { plain } from '../plainTranslator.ts';
import { momentOf, snapshot } from '../snapshots.ts';

/** Three minutes after snapshot 0. */
const now = Date.parse(momentOf(3));
const minute = 60_000;
const later = (ms: number) => new Date(now + ms).toISOString();

const captured: Snapshot = {
  ...snapshot(0, null, { alias: 'before-migration' }),
  changedFiles: { added: 1, changed: 2, deleted: 0, first: [{ path: 'src/app.ts', change: 'changed' }] },
  capture: {
    kept: [{ pid: 42, name: 'postgres', memoryBytes: 36 * 1024 * 1024 }],
    leftOut: [{ pid: 50, name: 'psql', memoryBytes: 0, reason: 'started from outside' }],
    listeners: [{ protocol: 'tcp', address: '0.0.0.0:5432' }],
    outsideConnections: [{ local: '10.209.0.16:40000', peer: '1.2.3.4:443' }],
    volumes: [{ name: 'data', path: '/data' }],
    nestedSubvolumes: [],
    otherMounts: [{ path: '/secrets', type: 'tmpfs', reason: 'not a subvolume' }],
  },
};

describe('the words beside a snapshot', () => {
  const describeIt = (more: Parameters<typeof snapshot>[2], isCurrent = false) =>
    snapshotDescription(plain, snapshot(0, null, more), isCurrent, now);

  it('are its age and what changed', () => {
    assert.equal(
      describeIt({ changedFiles: { added: 40, changed: 5, deleted: 2 } }),
      '3 minutes ago · 47 files',
    );
    assert.equal(
      describeIt({ changedFiles: { added: 1, changed: 0, deleted: 0 } }),
      '3 minutes ago · 1 file',
    );
  });

  it('say nothing of changes that are not counted yet', () => {
    assert.equal(describeIt({}), '3 minutes ago');
  });

  it('say which one is current', () => {
    assert.equal(describeIt({}, true), 'current · 3 minutes ago');
  });

  it('say what icons and colours say', () => {
    assert.equal(describeIt({ stateful: false, protected: true }), '3 minutes ago · files only · protected');
  });

  it('say when it expires within a day, unless it is protected', () => {
    assert.equal(describeIt({ expiresAt: later(5 * 60 * minute) }), '3 minutes ago · expires in 5 hours');
    assert.equal(describeIt({ expiresAt: later(48 * 60 * minute) }), '3 minutes ago');
    assert.equal(describeIt({ expiresAt: later(minute), protected: true }), '3 minutes ago · protected');
  });
});

describe('what a screen reader says of a snapshot', () => {
  it('is all that the row shows', () => {
    assert.equal(
      snapshotSpokenText(
        plain,
        snapshot(0, null, { alias: 'before-ai-login', kind: 'before-ai' }),
        true,
        now,
      ),
      'before-ai-login, snapshot before an AI edit, with processes, current, 3 minutes ago',
    );
  });
});

describe('the tooltip of a snapshot', () => {
  const tooltip = (one: Parameters<typeof snapshotTooltip>[1]) =>
    snapshotTooltip(plain, one, true, now, 'en-GB');
  const unescaped = (markdown: string) => markdown.replace(/\\(.)/g, '$1');

  it('holds the capture report', () => {
    const text = unescaped(tooltip(captured));
    for (const part of [
      '**before-migration**',
      '| Name | snap-20260304-140000 |',
      'postgres (42, 36.00MB)',
      'psql (50): started from outside',
      'tcp 0.0.0.0:5432',
      '1.2.3.4:443',
      'data: /data',
      '/secrets (tmpfs): not a subvolume',
      '~ src/app.ts',
      '1 added, 2 changed, 0 deleted',
    ]) {
      assert.ok(text.includes(part), `${part} is missing in\n${text}`);
    }
  });

  it('is whole without the capture report, too', () => {
    assert.match(unescaped(tooltip(snapshot(0, null))), /Taken \| 4 Mar 2026/);
  });

  it('shows text from people and containers as that text alone', () => {
    const evil = '[click](command:evil) <b>x</b> | `y` $(zap) http://evil.example \n# heading';
    const markdown = tooltip({
      ...captured,
      note: evil,
      capture: { ...captured.capture, kept: [{ pid: 1, name: evil, memoryBytes: 0 }] },
    });
    // Every mark that could begin something is escaped.
    assert.doesNotMatch(markdown, /(^|[^\\])[[<`$]|[^\\]\]\(|http:\/\//);
    assert.doesNotMatch(markdown, /^# /m);
    assert.ok(
      unescaped(markdown).includes('\\u{a}# heading') || unescaped(markdown).includes('u{a}# heading'),
    );
  });

  it('shortens long lists', () => {
    const kept = Array.from({ length: 20 }, (_, pid) => ({
      pid,
      name: `worker${String(pid)}`,
      memoryBytes: 0,
    }));
    const text = unescaped(tooltip({ ...captured, capture: { ...captured.capture, kept } }));
    assert.ok(text.includes('and 12 more'));
    assert.ok(!text.includes('worker8 '));
  });
});

describe('escaped Markdown', () => {
  it('has a backslash before every ASCII punctuation mark', () => {
    for (let code = 0x21; code < 0x7f; code++) {
      const mark = String.fromCharCode(code);
      assert.equal(escapeMarkdown(mark), /[A-Za-z0-9]/.test(mark) ? mark : `\\${mark}`);
    }
  });
});
