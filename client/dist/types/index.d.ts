export { createClient, type ChangeEvent, type Client, type ClientEvents, type ClientOptions } from './client';
export type { Collection } from './collection';
export { domEvents } from './dom';
export type { Status } from './state';
export type { Row } from './wire';
