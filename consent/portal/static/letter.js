// The letter's picture opens this page with the code behind the `#`, which browsers send to nobody.
// It is typed for the patient and taken out of the address.
"use strict";
(() => {
  function take() {
    const code = decodeURIComponent(location.hash.slice(1));
    if (!/^[0-9A-Za-z-]{26,40}$/.test(code)) return;
    history.replaceState(null, "", location.pathname);
    document.getElementById("code").value = code;
    document.querySelector("main button").focus();
  }
  document.addEventListener("DOMContentLoaded", take);
  addEventListener("hashchange", take); // the picture was scanned with this page open
})();
