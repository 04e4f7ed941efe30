/** Where a follower stands. */
export type State = 'idle' | 'loading' | 'waiting' | 'connecting' | 'subscribing' | 'live' | 'probing' | 'stopped';
/** What happens to a follower. */
export type Event = 'start' | 'stop' | 'loaded' | 'progress' | 'failed' | 'refused' | 'opened' | 'closed' | 'subscribed' | 'heard' | 'reset' | 'wake' | 'timer';
/** What is to be done on the way into the next state. */
export type Effect = 'load' | 'abort' | 'connect' | 'reconnect' | 'hurry' | 'disconnect' | 'subscribe' | 'ping';
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
/** The event means nothing in this state: nothing happens, the state's time runs on. */
export declare const ignore: null;
/** Every state with every event. */
export declare const table: Record<State, Record<Event, Step | typeof ignore>>;
/** The machine before its first event. */
export declare const initial: Machine;
/** next is the machine after an event and what is to be done; null if the event means nothing. */
export declare function next(machine: Machine, event: Event): {
    machine: Machine;
    run?: Effect;
} | null;
/** What a page is told: live, not yet, not now, or not any more. */
export type Status = 'connecting' | 'live' | 'reconnecting' | 'stopped';
/** status sums a machine up for people. */
export declare function status({ state, wasLive }: Machine): Status;
