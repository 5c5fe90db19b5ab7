"""A folder into FAISS by LangChain, as its documentation does it: python langchain_faiss.py FOLDER BASE_URL OUT."""

import json
import sys

from langchain_community.document_loaders import DirectoryLoader, TextLoader
from langchain_community.vectorstores import FAISS
from langchain_openai import OpenAIEmbeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter

folder, base_url, out = sys.argv[1:]
documents = DirectoryLoader(folder, glob="**/*", loader_cls=TextLoader, loader_kwargs={"encoding": "utf-8"}).load()
splitter = RecursiveCharacterTextSplitter.from_tiktoken_encoder(
    encoding_name="cl100k_base", chunk_size=512, chunk_overlap=0
)
chunks = splitter.split_documents(documents)
embeddings = OpenAIEmbeddings(model="text-embedding-3-small", base_url=base_url, api_key="none")
store = FAISS.from_documents(chunks, embeddings)
store.save_local(out)
print(json.dumps({"n_chunks": len(chunks)}))
