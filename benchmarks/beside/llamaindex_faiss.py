"""A folder into FAISS by LlamaIndex, as its documentation does it: python llamaindex_faiss.py FOLDER BASE_URL OUT."""

import json
import sys

import faiss
from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.vector_stores.faiss import FaissVectorStore

folder, base_url, out = sys.argv[1:]
documents = SimpleDirectoryReader(folder, recursive=True).load_data()
store = FaissVectorStore(faiss_index=faiss.IndexFlatL2(1536))
index = VectorStoreIndex.from_documents(
    documents,
    storage_context=StorageContext.from_defaults(vector_store=store),
    transformations=[SentenceSplitter(chunk_size=512, chunk_overlap=0)],
    embed_model=OpenAIEmbedding(model="text-embedding-3-small", api_base=base_url, api_key="none"),
)
index.storage_context.persist(out)
print(json.dumps({"n_chunks": store.client.ntotal}))
