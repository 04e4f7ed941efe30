/**
 * onWake calls back in the moments in which a connection may have died
 * unnoticed or a new one may succeed: the network is back, the page is shown
 * again, the browser took it out of its back/forward cache. It returns the
 * function that ends that.
 */
export declare function onWake(call: () => void): () => void;
