/**
 * The results of a `map` as an async iterator. Written by hand because an async
 * generator costs several promises per item, and items may take a microsecond.
 */

/** What the iterator needs of the map behind it. */
export interface ResultSource<A> {
  /** The next results, none at the end; rejects with what ended the map early. */
  readonly pull: () => Promise<ReadonlyArray<A>>
  /** Cancels what still runs. */
  readonly close: () => Promise<void>
}

/** The results of a `map`, one by one. Leaving a `for await` loop over them cancels the rest. */
export class MapResults<A> implements AsyncIterableIterator<A, void, void>, AsyncDisposable {
  readonly #source: ResultSource<A>
  #values: ReadonlyArray<A> = []
  #index = 0
  #isEnded = false
  /** Done when the calls of `next` so far are; undefined when none is under way. */
  #tail: Promise<void> | undefined

  /** @internal Made by `map`. */
  constructor(source: ResultSource<A>) {
    this.#source = source
  }

  /** The next result; calls may overlap and are answered in their order. */
  next(): Promise<IteratorResult<A, void>> {
    if (this.#tail === undefined && this.#index < this.#values.length) {
      return Promise.resolve({ done: false, value: this.#values[this.#index++]! })
    }
    const result = this.#tail === undefined ? this.#take() : this.#tail.then(() => this.#take())
    const tail = result.then(() => {}, () => {}).then(() => {
      if (this.#tail === tail) this.#tail = undefined
    })
    this.#tail = tail
    return result
  }

  /** Ends the iteration and cancels what still runs. */
  async return(): Promise<IteratorReturnResult<void>> {
    await this.#end()
    return { done: true, value: undefined }
  }

  /** The same as `return`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async #take(): Promise<IteratorResult<A, void>> {
    if (this.#index === this.#values.length && !this.#isEnded) await this.#refill()
    if (this.#index < this.#values.length) return { done: false, value: this.#values[this.#index++]! }
    return { done: true, value: undefined }
  }

  async #refill(): Promise<void> {
    try {
      this.#values = await this.#source.pull()
      this.#index = 0
    } catch (error) {
      await this.#end()
      throw error
    }
    if (this.#values.length === 0) await this.#end()
  }

  async #end(): Promise<void> {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#values = []
    this.#index = 0
    await this.#source.close()
  }
}
