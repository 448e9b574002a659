// @ts-check
import { readFileSync } from "node:fs";

const FOLDER = new URL("./fixtures/", import.meta.url);

/** @param {string} name */
export function fixture(name) {
  return JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8"));
}
