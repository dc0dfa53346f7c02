// Uses a node as any program built on ethers would; prints what it saw as one line of JSON.
// node ethers.mjs URL ARTIFACT PRIVATE_KEY MEMBERS(JSON)
import { readFileSync } from "node:fs";
import { ethers } from "ethers";

const [url, artifactFile, key, members] = process.argv.slice(2);
const artifact = JSON.parse(readFileSync(artifactFile, "utf8"));
const provider = new ethers.JsonRpcProvider(url);
const wallet = new ethers.Wallet(key, provider);
const free = { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n };
const factory = new ethers.ContractFactory(artifact.abi, artifact.bytecode, wallet);
const contract = await factory.deploy("0x" + "01".repeat(32), JSON.parse(members), free);
const receipt = await contract.deploymentTransaction().wait();
const address = await contract.getAddress();
const joined = await contract.queryFilter("Joined", receipt.blockNumber, receipt.blockNumber);
const third = await provider.getLogs({
  address,
  fromBlock: 0,
  topics: [contract.interface.getEvent("Joined").topicHash, null, null],
});
const proof = await provider.send("eth_getProof", [address, ["0x0"], "latest"]);
let refused = null;
try {
  await contract.endorse.staticCall(JSON.parse(members)[0]);
} catch (error) {
  refused = error.revert?.name ?? error.code;
}
const block = await provider.getBlock(receipt.blockNumber, true);
console.log(
  JSON.stringify({
    address,
    status: receipt.status,
    numbers: joined.map((event) => Number(event.args[1] ?? event.args.number)),
    filtered: third.length,
    codeFits: ethers.keccak256(await provider.getCode(address)) === proof.codeHash,
    proofNodes: proof.accountProof.length,
    refused,
    chainId: Number((await provider.getNetwork()).chainId),
    blockHolds: block.transactions.includes(receipt.hash),
    nonce: await wallet.getNonce(),
  }),
);
provider.destroy();
