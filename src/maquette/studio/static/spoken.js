// Numbers as a person reads them.

export const bytes = (number) => number >= 2 ** 30 ? `${(number / 2 ** 30).toFixed(1)} GB` : `${Math.round(number / 2 ** 20)} MB`;

export function time(seconds) {
  if (seconds >= 5400) return `${(seconds / 3600).toFixed(1)} h`;
  if (seconds >= 90) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds)} s`;
}

export const element = (name, values = {}, ...within) => {
  const made = Object.assign(document.createElement(name), values);
  made.append(...within);
  return made;
};
