/** What Piscina's threads run. */
export default (n: number): number => n
