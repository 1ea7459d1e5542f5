// node build/example.js http://localhost:50050 10014
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { SearchService } from "./gen/fashion/v1/search_pb.js";

const [baseUrl, productId] = process.argv.slice(2);
const search = createClient(SearchService, createGrpcTransport({ baseUrl }));
const answer = await search.findSimilar({ query: { case: "productId", value: productId }, topK: 5 }, { timeoutMs: 2000 });
for (const { similarity, product } of answer.products) {
  console.log(similarity.toFixed(3), product?.id, product?.name);
}
