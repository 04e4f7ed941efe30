/** What a tab is told. */
export interface TabEvents<Message> {
    /** This tab leads from now on; alone unless the browser has no locks. */
    lead(alone: boolean): void;
    /** It leads no more; the next one leads when the promise is fulfilled. */
    resign(): Promise<void>;
    heard(message: Message): void;
}
/** Tabs is a tab among those of the same name. */
export interface Tabs<Message> {
    readonly leader: boolean;
    /** join takes part in the election; without a common store a tab leads itself. */
    join(common: boolean): void;
    /** leave gives the lead up, and is not heard any more. */
    leave(): Promise<void>;
    /** alone does something when no tab leads. */
    alone(job: () => Promise<void>): Promise<void>;
    /** post tells the other tabs. */
    post(message: Message): void;
}
/**
 * newTabs elects one of the tabs of a name, by a Web Lock: it holds the lock as
 * long as it lives. Tabs with the same store talk to each other over a channel.
 */
export declare function newTabs<Message>(name: string, on: TabEvents<Message>): Tabs<Message>;
