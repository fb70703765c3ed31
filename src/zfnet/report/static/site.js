// What every page does: unfolds what its address names, and all that is folded for the printer.
"use strict";
(function () {
  // What the address names is unfolded: a verdict's evidence, a number in a folded table.
  function unfold() {
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    let folded = target.closest("details:not([open])");
    if (!folded) return;
    for (; folded; folded = folded.parentElement.closest("details:not([open])")) {
      folded.open = true;
    }
    target.scrollIntoView();
  }
  window.addEventListener("hashchange", unfold);
  unfold();

  // A folded section prints unfolded; the verdict table prints as a table, with the evidence of
  // those rows that are open.
  let folded = [];
  window.addEventListener("beforeprint", function () {
    folded = Array.from(document.querySelectorAll("details:not([open], .claim-row)"));
    folded.forEach((item) => (item.open = true));
  });
  window.addEventListener("afterprint", function () {
    folded.forEach((item) => (item.open = false));
  });
})();
