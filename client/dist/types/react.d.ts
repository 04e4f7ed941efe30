import type { Client } from './client.js';
import type { Row } from './wire.js';
/** useCollection gives the rows of a followed table, and draws anew when they change. */
export declare function useCollection<T extends object = Row>(client: Client, entity: string): readonly T[];
