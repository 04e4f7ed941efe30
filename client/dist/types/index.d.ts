export { createClient, type ChangeEvent, type Client, type ClientEvents, type ClientOptions, type StatusEvent } from './client.js';
export type { Collection, Mutation } from './collection.js';
export { domEvents } from './dom.js';
export { forms } from './form.js';
export type { Outcome } from './outbox.js';
export type { Source } from './replica.js';
export type { Status } from './state.js';
export type { Action, Conflict, Refusal, Row } from './wire.js';
