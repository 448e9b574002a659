import assert from "node:assert/strict";
import test from "node:test";

import { createStore } from "../../web/store.js";

/** @returns {any} */
function storage(limit = Infinity) {
  const items = new Map();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem(key, text) {
      if (text.length > limit) throw new Error("full");
      items.set(key, text);
    },
  };
}

test("a payload comes back for its node of its workflow only", () => {
  const shared = storage();
  const store = createStore(() => shared);
  store.remember("a", { node: "12:7", state: "finished" });
  assert.equal(store.recall("a", "12:7").state, "finished");
  assert.equal(store.recall("a", "12"), null);
  assert.equal(store.recall("b", "12:7"), null);
});

test("a reload keeps what was saved, and a run under way is not called running", () => {
  const shared = storage();
  const before = createStore(() => shared);
  before.remember("a", { node: "1", state: "running", calls: 5 });
  before.remember("a", { node: "2", state: "finished" });
  assert.equal(before.recall("a", "1").state, "running");
  before.save();
  const after = createStore(() => shared);
  assert.deepEqual(after.recall("a", "1"), { node: "1", state: "reloaded", calls: 5 });
  assert.equal(after.recall("a", "2").state, "finished");
});

test("a full storage or foreign text in it is an empty panel, not an error", () => {
  const shared = storage(10);
  const store = createStore(() => shared);
  store.remember("a", { node: "1", state: "finished" });
  store.save();
  shared.setItem("wanattn:a:2", "{oops");
  assert.equal(createStore(() => shared).recall("a", "1"), null);
  assert.equal(createStore(() => shared).recall("a", "2"), null);
});

test("a browser that refuses storage still shows what came in", () => {
  const store = createStore(() => {
    throw new Error("refused");
  });
  store.remember("a", { node: "1", state: "finished" });
  store.save();
  assert.equal(store.recall("a", "1").state, "finished");
  assert.equal(store.recall("a", "2"), null);
});
