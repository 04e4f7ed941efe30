/**
 * onWake calls back in the moments in which a connection may have died
 * unnoticed or a new one may succeed: the network is back, the page is shown
 * again. They end with the signal.
 */
export declare function onWake(call: () => void, signal: AbortSignal): void;
