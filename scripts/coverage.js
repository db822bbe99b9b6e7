// The figures of B20 from what llvm-cov has written: lines and branches of each file, without the tests in it.
"use strict";
const { readFileSync } = require("node:fs");

const groups = [
  ["core", /^(codec|commit|cookie|id|layer|state)\/|^[^/]*$/],
  ["memory store", /^store\/memory\//],
];
const totals = new Map();

for (const record of readFileSync(process.argv[2], "utf8").split("end_of_record\n")) {
  const path = record.match(/^SF:(.*)$/m)?.[1];
  if (!path) continue;
  const name = path.slice(path.lastIndexOf("/src/") + 5);
  const group = groups.find(([, files]) => files.test(name));
  if (!group || /(^|\/)(tests|properties)\.rs$/.test(name)) continue;
  const tests = readFileSync(path, "utf8").split("\n").indexOf("mod tests {");
  const own = ([line]) => tests < 0 || Number(line) <= tests;
  const lines = [...record.matchAll(/^DA:(\d+),(\d+)/gm)].map(([, ...of]) => of).filter(own);
  const branches = [...record.matchAll(/^BRDA:(\d+),\d+,\d+,(\d+|-)/gm)].map(([, ...of]) => of).filter(own);
  const ran = ([, times]) => Number(times) > 0;
  const counted = [lines.length, lines.filter(ran).length, branches.length, branches.filter(ran).length];
  report(name, counted);
  const sum = totals.get(group[0]) ?? [0, 0, 0, 0];
  totals.set(group[0], sum.map((n, at) => n + counted[at]));
}
for (const [group, sum] of totals) report(group, sum);

function report(engine, [lines, linesRun, branches, branchesRun]) {
  console.log(JSON.stringify({ bar: "B20", engine, lines, lines_run: linesRun, branches, branches_run: branchesRun }));
}
