"""Users of httpbin: most read small documents, some post and get their own words back."""

import random

from locust import FastHttpUser, HttpUser, between, tag, task


class Reader(FastHttpUser):
    """Reads documents, now and then one that is large or compressed."""

    weight = 4
    wait_time = between(0.5, 1.5)

    @task(5)
    def document(self):
        self.client.get("/json")

    @task(4)
    def identifier(self):
        with self.client.get("/uuid", catch_response=True) as response:
            if response.status_code == 200 and "uuid" not in response.text:
                response.failure("no uuid in the answer")

    @task(3)
    def decoded(self):
        self.client.get("/base64/d2F2ZXMgaW4gYSB0YW5r", name="/base64/[text]")

    @task(2)
    @tag("large")
    def page(self):
        self.client.get("/html")

    @task(1)
    @tag("large")
    def compressed(self):
        self.client.get("/gzip")


class Writer(HttpUser):
    """Sends forms and documents, and keeps a cookie."""

    weight = 1
    wait_time = between(1, 2)

    def on_start(self):
        self.client.get("/cookies/set?visitor=1", name="/cookies/set")

    @task(3)
    def document(self):
        order = {"item": random.randint(1, 1000), "count": random.randint(1, 5)}
        with self.client.post("/anything/orders", json=order, catch_response=True) as response:
            if response.ok and response.json()["json"] != order:
                response.failure("the order came back changed")

    @task(2)
    def form(self):
        self.client.post("/post", data={"comment": "the tide is high"})

    @task(1)
    def search(self):
        page = random.randint(1, 50)
        self.client.get(f"/get?q=waves&page={page}", name="/get?q=[words]")
