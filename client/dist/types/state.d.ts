/** Where a follower stands. */
export type State = 'idle' | 'loading' | 'waiting' | 'connecting' | 'subscribing' | 'live' | 'probing' | 'stopped';
/** What happens to a follower. */
export type Event = 'start' | 'stop' | 'added' | 'loaded' | 'progress' | 'failed' | 'refused' | 'opened' | 'subscribed' | 'heard' | 'reset' | 'wake' | 'timer';
/** What is to be done on the way into the next state; each begins with dropping what was being done. */
export type Effect = 'load' | 'connect' | 'drop' | 'subscribe' | 'ping';
/** The state, and what the pause before the next try depends on. */
export interface Machine {
    readonly state: State;
    /** Failures since the follower last heard from the server. */
    readonly failures: number;
    /** Whether it was live before. */
    readonly wasLive: boolean;
}
/** One cell of the table: where to go, what to do, and how to count failures. */
export interface Step {
    readonly to: State;
    readonly run?: Effect;
    readonly failures?: 'add' | 'clear';
}
/** Every state with the events that mean something there; the others change nothing, and the state's time runs on. */
export declare const table: Record<State, Partial<Record<Event, Step>>>;
/** The machine before its first event. */
export declare const initial: Machine;
/** next is the machine after an event and what is to be done; null if the event means nothing. */
export declare function next(machine: Machine, event: Event): {
    machine: Machine;
    run: Effect | undefined;
} | null;
/** What a page is told: live, not yet, not now, or not any more. */
export type Status = 'connecting' | 'live' | 'reconnecting' | 'stopped';
/** status sums a machine up for people. */
export declare function status({ state, wasLive }: Machine): Status;
/**
 * viaEvents tells which connection to try after that many failures in a row:
 * mostly the WebSocket, every third time server-sent events, which get through
 * where a proxy refuses upgrades.
 */
export declare const viaEvents: (failures: number) => boolean;
