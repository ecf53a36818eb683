/**
 * Best-fit decreasing: items by falling length, each into the fullest bin that still has room, else into a new one.
 * Ties go to the item that comes first in `order`, and to the bin touched last. How full the bins are depends on the lengths alone.
 * Source: Johnson, "Near-optimal bin packing algorithms", 1973; TRL's `bfd`.
 * @param lengths length of every item, 1 to capacity
 * @param order the items to pack
 * @returns bins of item numbers
 */
export function packBestFit(lengths: ArrayLike<number>, order: ArrayLike<number>, capacity: number): number[][] {
  const byLength: number[][] = Array.from({ length: capacity + 1 }, () => []);
  for (const item of Array.from(order)) byLength[lengths[item] as number]?.push(item);
  const bins: number[][] = [];
  /** Bins by the room they have left. */
  const open: number[][] = Array.from({ length: capacity + 1 }, () => []);
  const rooms = new RoomIndex(capacity);
  for (let length = capacity; length >= 1; length--) {
    for (const item of byLength[length] as number[]) {
      const room = rooms.smallestFrom(length);
      const waiting = room < 0 ? undefined : open[room];
      const bin = waiting?.pop() ?? bins.push([]) - 1;
      if (waiting?.length === 0) rooms.set(room, false);
      bins[bin]?.push(item);
      const left = (waiting ? room : capacity) - length;
      if (left === 0) continue;
      open[left]?.push(bin);
      rooms.set(left, true);
    }
  }
  return bins;
}

/** The smallest room that some bin has left and that is large enough, in O(log capacity): a binary tree of flags. */
class RoomIndex {
  private readonly leaves: number;
  private readonly used: Uint8Array;

  constructor(capacity: number) {
    this.leaves = 2 ** Math.ceil(Math.log2(capacity + 1));
    this.used = new Uint8Array(2 * this.leaves);
  }

  set(room: number, used: boolean): void {
    let node = this.leaves + room;
    this.used[node] = used ? 1 : 0;
    for (node >>= 1; node >= 1; node >>= 1) {
      this.used[node] = this.used[2 * node] || this.used[2 * node + 1] ? 1 : 0;
    }
  }

  /** -1 where there is none. */
  smallestFrom(room: number): number {
    let node = this.leaves + room;
    while (!this.used[node]) {
      // Up until there is a right neighbour, then on to it.
      while (node > 1 && node % 2 === 1) node >>= 1;
      if (node <= 1) return -1;
      node++;
    }
    while (node < this.leaves) node = this.used[2 * node] ? 2 * node : 2 * node + 1;
    return node - this.leaves;
  }
}
