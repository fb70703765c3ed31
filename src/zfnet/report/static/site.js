// The picture viewer: a click or Enter on a figure opens it large; without it the link opens the
// file. A second click switches between fitting the window and one picture pixel a screen pixel.
"use strict";
(function () {
  const viewer = document.querySelector("dialog.viewer");
  if (!viewer || !viewer.showModal) return;
  const stage = viewer.querySelector(".stage");

  function open(link) {
    const small = link.querySelector("img");
    const large = new Image();
    large.src = link.href;
    large.alt = small.alt;
    stage.classList.remove("natural");
    stage.replaceChildren(large);
    viewer.querySelector(".file").href = link.href;
    const caption = link.parentElement.querySelector("figcaption");
    viewer.querySelector(".caption").textContent = caption ? caption.textContent : "";
    viewer.showModal();
    stage.focus();
  }

  function toggle() {
    stage.classList.toggle("natural");
    stage.scrollTo(0, 0);
  }

  document.addEventListener("click", function (event) {
    const link = event.target.closest("a.zoom");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(link);
  });
  stage.addEventListener("click", toggle);
  stage.addEventListener("keydown", function (event) {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      toggle();
    }
  });
  viewer.addEventListener("click", function (event) {
    if (event.target === viewer) viewer.close();
  });
  viewer.addEventListener("close", function () {
    stage.replaceChildren();
  });

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
