'use strict';

// Requests that wait where a test wants them to: `?hold=<name>` stops at the gate of that name until it is opened.

const gates = new Map();

function gate(name) {
  if (!gates.has(name)) {
    const it = {};
    it.reached = new Promise((resolve) => { it.reach = resolve; });
    it.opened = new Promise((resolve) => { it.open = resolve; });
    gates.set(name, it);
  }
  return gates.get(name);
}

exports.hold = async (name) => {
  gate(name).reach();
  await gate(name).opened;
};

// The control plane, in front of the session: answers `true` if the request was for it.
exports.control = async (url) => {
  const { pathname, searchParams } = new URL(url, 'http://any');
  if (pathname === '/gate/reached') await gate(searchParams.get('name')).reached;
  else if (pathname === '/gate/open') gate(searchParams.get('name')).open();
  else return pathname === '/up';
  return true;
};

// What a request wants to become of its session's data.
exports.change = (session, query) => {
  if (query.age !== undefined) session.cookie.maxAge = JSON.parse(query.age);
  if (query.set) Object.assign(session, JSON.parse(query.set));
  if (query.remove) delete session[query.remove];
};
