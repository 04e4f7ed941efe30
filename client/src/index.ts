// gormsync-client as an ES module, for pages with a bundler. The script for a
// plain script tag is script.ts.
export { createClient, type ChangeEvent, type Client, type ClientEvents, type ClientOptions } from './client';
export type { Collection } from './collection';
export { domEvents } from './dom';
export type { Status } from './state';
export type { Row } from './wire';
