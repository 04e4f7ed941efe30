// gormsync-client as an ES module, for pages with a bundler. The script for a
// plain script tag is script.ts.
export { createClient, type ChangeEvent, type Client, type ClientEvents, type ClientOptions, type StatusEvent } from './client';
export type { Collection, Mutation } from './collection';
export { domEvents } from './dom';
export { forms } from './form';
export type { Outcome } from './outbox';
export type { Source } from './replica';
export type { Status } from './state';
export type { Action, Conflict, Refusal, Row } from './wire';
