/** Emitter calls the listeners of a fixed set of events. */
export declare class Emitter<Events extends object> {
    #private;
    /** on adds a listener and returns the function that removes it. */
    on<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): () => void;
    /** emit calls the listeners; one that throws is reported and does not keep the others from it. */
    emit<K extends keyof Events>(name: K, event: Events[K]): void;
}
