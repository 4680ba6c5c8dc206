// The entry of dist/ssh2.js: what the extension uses of ssh2, in a file of its own that is loaded with the first host.
// ssh2 is a CommonJS module whose names Node.js can't find out by itself, so it is taken as a whole.
import ssh2 from 'ssh2';

export const { BaseAgent, Client, createAgent, utils } = ssh2;
