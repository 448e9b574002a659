import assert from "node:assert/strict";
import test from "node:test";

import { faultIn } from "../../web/report/check.js";
import { complete } from "../../web/report/payload.js";
import { PAYLOAD } from "../../web/report/schema.js";
import { placesOf, withWrong, WRONG } from "./faults.js";
import { fixture } from "./fixtures.js";

const every = fixture("every");
const places = [...placesOf(every)];

test("a payload with every field is shown", () => assert.equal(faultIn(PAYLOAD, every), ""));

test("every field of a payload is looked at, wherever it is", () => {
  const unseen = places.filter((path) => !faultIn(PAYLOAD, withWrong(every, path, () => "nothing that can be drawn")));
  assert.deepEqual(unseen.map((path) => path.join(".")), []);
});

test("a field that the schema does not know would be found by that", () => {
  const unknown = { ...every, later: [{ more: 1 }] };
  const unseen = [...placesOf(unknown)].filter((path) => !faultIn(PAYLOAD, withWrong(unknown, path, () => "wrong")));
  assert.deepEqual(unseen, [["later"], ["later", "0"], ["later", "0", "more"]]);
});

test("a payload with one wrong value is drawn as it is or not at all, and the sentence names the field", () => {
  for (const path of places) {
    for (const wrong of WRONG) {
      const { fault, rows } = complete(withWrong(every, path, wrong));
      if (fault === null || fault === undefined) continue;
      assert.match(fault, /^This report cannot be shown: \S+ (is|has) .+, needs .+/);
      assert.ok(fault.includes(path[0]), `${path.join(".")}: ${fault}`);
      assert.deepEqual(rows, []);
    }
  }
});

for (const name of ["small", "expert", "running", "large", "hostile", "lying", "idle", "failed", "first_forward", "shared", "two_devices"]) {
  test(`${name}.json is shown`, () => assert.equal(faultIn(PAYLOAD, fixture(name)), ""));
}
